"""Generates messages from a seed, and awkward ones, and says how Python's email reads them.

For each message one line `message` with its octets, then a line for each part: its depth, type,
charset, disposition, file name, Content-ID, encoding, decoded octets and text. Everything that may
contain anything is in hexadecimal; a hyphen stands for what is missing.
"""

import email
import email.header
import email.utils
import random
import sys

SEED, COUNT = int(sys.argv[1]), int(sys.argv[2])


def shown(text):
    """A text or octets in one word."""
    if text is None:
        return "-"
    octets = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return "=" + octets.hex()


def words(text):
    """A text without its encoded words."""
    if text is None:
        return None
    parts = email.header.decode_header(text)
    return "".join(
        part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
        for part, charset in parts
    )


def text_of(octets, charset):
    """The text of a body, as facteur documents it."""
    try:
        if charset not in (None, "us-ascii"):
            return octets.decode(charset, "replace")
    except LookupError:
        pass
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("windows-1252")


def show_part(part, depth):
    kind = part.get_content_type()
    is_leaf = part.get_content_maintype() in ("text", "image", "application")
    octets = part.get_payload(decode=True) if is_leaf else None
    charset = part.get_param("charset")
    charset = charset[2] if isinstance(charset, tuple) else charset
    encoding = str(part.get("content-transfer-encoding", "")).strip().lower()
    content_id = part.get("content-id")
    text = None
    if part.get_content_maintype() == "text":
        text = text_of(octets, charset)
    fields = [
        shown(kind),
        shown(charset),
        shown(part.get_content_disposition()),
        shown(words(part.get_filename())),
        shown(content_id and str(content_id).strip("<> ")),
        encoding if encoding in ("base64", "quoted-printable") else "identity",
        shown(octets),
        shown(text),
    ]
    print("part", depth, *fields)
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for child in part.get_payload():
            show_part(child, depth + 1)


def show(message):
    print("message", message.hex())
    show_part(email.message_from_bytes(message), 0)


class Generator:
    """Messages that are random, mostly valid."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.n_boundaries = 0

    def chance(self, one_in):
        return self.random.randrange(one_in) == 0

    def boundary(self):
        # Each is a prefix of the following ones.
        self.n_boundaries += 1
        return self.random.choice(["b", "=_b.b"]) + "b" * self.n_boundaries

    def text(self):
        lines = []
        for _ in range(self.random.randrange(5)):
            line = self.random.choice(
                ["", "text", "--", "--b", "-- b", "\u00fc\u00e4", "=", "a: b", "From x", "x" * 90]
            )
            lines.append(line)
        return "\n".join(lines) + self.random.choice(["", "\n"])

    def leaf(self):
        header, charset = [], None
        if not self.chance(6):
            kind = self.random.choice(["text/plain", "text/html", "Image/PNG", "application/x-y"])
            charset = self.random.choice(
                ["iso-8859-1", "utf-8", "UTF-8", "gb2312", "utf-16", "x-unknown", "iso-8859-15"]
            )
            quote = self.random.choice(["", '"'])
            header.append("Content-Type: %s; charset=%s%s%s" % (kind, quote, charset, quote))
        text = self.text()
        if charset == "gb2312":
            text = text.replace("\u00fc\u00e4", "\u4f60\u597d")
        octets = text.encode(charset if charset not in (None, "x-unknown") else "utf-8")
        encoding = self.random.choice(["base64", "Quoted-Printable", "8bit", None])
        if charset == "utf-16":
            encoding = "base64"
        if encoding == "base64":
            octets = email.base64mime.body_encode(octets).encode()
        elif encoding == "Quoted-Printable":
            lines = octets.split(b"\n")
            encoded = [email.quoprimime.body_encode(line.decode("latin-1")) for line in lines]
            octets = "\n".join(encoded).encode()
        if encoding is not None:
            blanks = " " * self.random.randrange(3)
            header.append("Content-Transfer-Encoding:%s%s" % (blanks, encoding))
        if self.chance(2):
            header.append("Content-Disposition: " + self.disposition())
        if self.chance(3):
            header.append("Content-ID: <%d@example.com>" % self.random.randrange(99))
        self.random.shuffle(header)
        return "\n".join(header).encode() + b"\n" * (2 if header else 1) + octets

    def disposition(self):
        name = self.random.choice(
            [
                "; filename=a.txt",
                '; filename="a b; c.txt"',
                "; filename*=utf-8''%C3%BC%20x.txt",
                "; filename*=iso-8859-1'de'%FC.txt",
                ";\n filename*0=\"a \";\n filename*1=b.txt",
                ";\n filename*0*=utf-8''%C3%BC;\n filename*1*=%C3%A4;\n filename*2=\".txt\"",
                "; filename*1=b; filename*0=a",
                '; filename="=?utf-8?q?=C3=BC?= =?utf-8?b?w6Q=?="',
                "",
            ]
        )
        return self.random.choice(["attachment", "inline", "Attachment"]) + name

    def multipart(self, depth):
        boundary = self.boundary()
        subtype = self.random.choice(["mixed", "alternative", "related", "digest"])
        quote = '"' if boundary.startswith("=") else self.random.choice(["", '"'])
        fold = self.random.choice([" ", "\n\t", "\n "])
        content = "Content-Type: multipart/%s;%sboundary=%s%s%s\n\n"
        content = content % (subtype, fold, quote, boundary, quote)
        content += self.random.choice(["", "preamble\n"])
        content = content.encode()
        for _ in range(self.random.randrange(5)):
            padding = self.random.choice(["", "", " ", "\t "])
            content += b"--%s%s\n" % (boundary.encode(), padding.encode())
            content += self.part(depth + 1) + b"\n"
        if not self.chance(6):
            content += b"--%s--" % boundary.encode()
            content += self.random.choice([b"", b"\n", b"\nepilogue\n"])
        return content

    def part(self, depth):
        if depth < 4 and self.chance(3):
            return self.multipart(depth)
        if self.chance(12):
            inner = self.multipart(depth) if self.chance(2) else self.leaf()
            return b"Content-Type: message/rfc822\n\nSubject: inner\n" + inner
        return self.leaf()

    def message(self):
        content = b"From: a@example.com\nSubject: x\n"
        content += self.leaf() if self.chance(5) else self.multipart(0)
        return content if self.chance(2) else content.replace(b"\n", b"\r\n")


MIXED = b"Content-Type: multipart/mixed; boundary=a\n\n"
AWKWARD = [
    b"",
    b"\n",
    b"a: b",
    b"no header\n\nx\n",
    b"a: b\nno field\nc: d\n\nx",
    b"a: b\n : c\n\nx",
    b"Content-Type: text\n\nx",
    b"Content-Type: text/html; charset=utf-8\n\n\xc3\xbc\xff",
    b"Content-Transfer-Encoding: x-other\n\nbegin 644 x\n",
    b"Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\n\n--ab\n\nx\n--ab--\n",
    MIXED,
    MIXED + b"preamble only",
    MIXED + b"--a",
    MIXED + b"--a\n",
    MIXED + b"--a\n\n--a\n\n--a--",
    MIXED + b"--a\nContent-Type: text/html\n--a--\n",
    MIXED + b"--a\nContent-Type: text/html\nno field\n--a--\n",
    MIXED + b"--a--\n--a\n\nx\n",
    MIXED + b"--a\n--a\n\nx\n--a--\n",
    MIXED + b"--a\n\nx\n--a \t\n\ny\n--a-- \n--a\n\nz\n",
    MIXED + b"--a\n\n--ab\n--a-\n --a\n--A\n--a--b\n--a--\n",
    MIXED + b"--a\nContent-Type: multipart/x; boundary=ab\n\n--ab\n\nx\n--a\n\ny\n--ab--\n",
    MIXED + b"--a\nContent-Type: multipart/x; boundary=ab\n\n--ab\n--a\n\ny\n",
    MIXED + b"--a\nContent-Type: multipart/x; boundary=a\n\n--a\n\ny\n--a--\n",
    MIXED + b"--a\nContent-Type: multipart/x; boundary=ab\n\n--ab\n\nx\n--ab--\nz\n--a\n\ny\n",
    MIXED.replace(b"\n", b"\r\n") + b"--a\n\nx\r\n--a\r\n\r\ny\n--a--",
    MIXED.replace(b"mixed", b"digest") + b"--a\n\nSubject: x\n\ny\n--a\n\nz\n--a--\n",
]

for awkward in AWKWARD:
    show(awkward)
    show(awkward.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
for number in range(COUNT):
    show(Generator(SEED + number).message())
