"""Translations of everything a user reads, in one gettext catalogue, `fr.po`.

Translators edit the `.po` file; `python docs/build_catalogue.py` adds new texts of the source to it, untranslated,
and writes the `.mo` file beside it, which is the one read. A test finds untranslated texts.
"""
