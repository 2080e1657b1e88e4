"""The pages of the documentation: those that are generated out of the code, and the site that is built of all of them.

`python -m scripts.pages --write` writes the generated pages (`make reference`), `--check` fails where one is not what
the code says, `--build` builds the site into build/site/html (`make docs`).
"""
