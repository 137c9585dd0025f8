"""How the picture of a fault run looks: by light, and by night where the viewer asks for it."""

from __future__ import annotations

from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "window": "window of a tick",
    "lost": "tick without a row",
    "good": "succeeded",
    "bad": "failed or stopped",
    "hollow": "not run, with a reason",
    "open": "not over",
    "fault": "fault",
    "recovery": "recovery allowed",
    "mark": "promise not kept",
}
"""The classes of what is drawn, and what they mean."""

# Written out twice: not every viewer of SVG knows variables.
STYLE = """
text { font-family: "DejaVu Sans", system-ui, sans-serif; fill: #1f2430 }
.paper { fill: #ffffff }
.title { font-size: 15px; font-weight: bold }
.note { font-size: 11px; fill: #5b6372 }
.name { font-size: 11px; fill: #7a4a00 }
.task { text-anchor: end }
.rule, .grid { stroke: #e3e6eb; stroke-width: .6; fill: none }
.fault { fill: #f5a623; fill-opacity: .3 }
.recovery { fill: #f5a623; fill-opacity: .12 }
.window { fill: #b9c5d8; fill-opacity: .6 }
.lost { fill: #d33a2c; fill-opacity: .25; stroke: #d33a2c; stroke-width: 1.4 }
.good { fill: #1f9d55 }
.bad { fill: #d33a2c }
.open { fill: #3b6fd4 }
.good, .bad, .open { stroke: #ffffff; stroke-width: .4 }
.hollow { fill: #ffffff; stroke: #4a5160; stroke-width: 1 }
.mark { fill: #a3158f; stroke: #ffffff; stroke-width: .7 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9ef }
  .paper { fill: #14171c }
  .note { fill: #9aa3b2 }
  .name { fill: #ffce7a }
  .rule, .grid { stroke: #2b313b }
  .fault { fill-opacity: .24 }
  .window { fill: #4a566a; fill-opacity: .6 }
  .lost { fill: #ff6b5e; stroke: #ff6b5e }
  .good { fill: #3ecf7c }
  .bad { fill: #ff6b5e }
  .open { fill: #7aa2ff }
  .good, .bad, .open { stroke: #14171c }
  .hollow { fill: #14171c; stroke: #c3cad6 }
  .mark { fill: #ff7de9; stroke: #14171c }
}
"""
