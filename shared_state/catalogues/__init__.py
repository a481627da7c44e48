"""The words of each language: one module a language, data alone. ``shared_state.languages`` has them all.

``TEXTS`` is one text a key, or, where a number decides the form, one text for each plural category of the
language (``zero one two few many other``, as CLDR has them). ``{name}`` is a place for a value. English has
all keys; a key that another language lacks is shown in English, and fails a test.
"""
