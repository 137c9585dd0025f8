"""The dashboard: pages made on the server from what the public services say, kept up to date by server-sent events.

A request comes by the door (`door.py`), which says who is signed in; a page (`pages/`) asks the services as that person
(`person.py`), draws (`charts/`) and fills a template. Without JavaScript everything can be read and every form works.
"""
