"""What is said in another language than English: one catalogue, `fr.po`, for all of it.

Translators edit the `.po` file; `python docs/build_catalogue.py` puts new texts of the source into it, without a
translation, and writes the `.mo` file beside it, which is what is read. A test finds what is not translated.
"""
