"""Values and pure functions. Time and chance are arguments.

The generated messages of dts.pb are the vocabulary; treat one as frozen once it is handed over.
"""
