"""The tables of a report's page, read back."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tables of a page by the section or drawing they stand in: rows of cells, numbers as their whole values."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.ids, self.tags, self.texts = {}, [], [], []
        self._key = self._row = self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag in ("section", "figure", "details") and attributes.get("id"):
            self._key = attributes["id"].removeprefix("drawing-")
        elif tag == "table":
            self.tables.setdefault(self._key, [])
        elif tag == "tr":
            self._row = []
        elif tag in ("td", "th"):
            self._cell = {"text": "", "values": []}
        elif tag == "data" and self._cell is not None:
            self._cell["values"].append(float(attributes["value"]))

    def handle_data(self, text):
        self.texts.append(text)
        if self._cell is not None:
            self._cell["text"] += text

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            values = self._cell["values"]
            self._row.append(self._cell["text"] if not values else values[0] if len(values) == 1 else tuple(values))
            self._cell = None
        elif tag == "tr":
            self.tables[self._key].append(self._row)

    def table(self, key):
        """The rows of the first table there, without its header."""
        head, *rows = self.tables[key]
        return [row for row in rows if len(row) == len(head)]
