"""The only room that speaks SQL.

`Store` holds one small class per aggregate; SQL stands in `sql/*.sql`, in named sections.
"""
