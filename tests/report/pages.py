"""Reading a page as a browser would: tags, attributes, text; tags must be closed in order."""

from html.parser import HTMLParser

VOID = {"meta", "br", "wbr", "link", "img", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes, scripts and what a reader sees; `sections` is {heading: text}."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.scripts, self.words = [], [], [], [], []
        self.sections, self._heading = {}, None
        self.feed(text)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())
        self.sections = {name: " ".join(" ".join(words).split()) for name, words in self.sections.items()}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else None
        if inside == "script":
            self.scripts[-1] += data
        elif inside == "h2":
            self._heading = data
            self.sections[data] = []
        elif inside and inside != "style":
            self.words.append(data)
            if self._heading is not None:
                self.sections[self._heading].append(data)
