"""Sends the letter on standard input with smtplib, fetches it with poplib, leaves it there."""

import poplib
import smtplib
import sys

letter = sys.stdin.buffer.read()
smtp_port, pop3_port = int(sys.argv[1]), int(sys.argv[2])

with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
    assert smtp.helo("client.example.com") == (250, b"Ok"), "HELO"
    assert smtp.ehlo("client.example.com")[0] == 250, "EHLO"
    for extension in ("8bitmime", "chunking", "pipelining", "size", "smtputf8"):
        assert smtp.has_extn(extension), extension
    assert smtp.noop()[0] == 250
    assert smtp.verify("bob@example.com")[0] == 252
    assert smtp.expn("list")[0] == 502
    assert smtp.rset()[0] == 250
    smtp.login("alice@example.com", "any")
    refused = smtp.sendmail(
        "alice@example.com",
        ["bob@example.com", "eve@example.com"],
        letter,
        mail_options=["BODY=8BITMIME"],
    )
    assert refused == {}, refused
    try:
        smtp.sendmail("alice@example.com", ["not an address@@"], letter)
        raise AssertionError("a bad address was accepted")
    except smtplib.SMTPRecipientsRefused:
        pass

pop3 = poplib.POP3("127.0.0.1", pop3_port)
assert "UIDL" in pop3.capa()
pop3.user("bob@example.com")
pop3.pass_("any password")
count, octets = pop3.stat()
assert count == 1
_, listing, _ = pop3.list()
assert listing == [b"1 %d" % octets]
_, lines, _ = pop3.retr(1)
message = b"".join(line + b"\r\n" for line in lines)
assert len(message) == octets, (len(message), octets)
assert message.endswith(b"\r\n" + letter), message
header = message[: message.index(b"\r\n\r\n") + 4]
_, lines, _ = pop3.top(1, 2)
top = b"".join(line + b"\r\n" for line in lines)
assert top == header + b".a dot first\r\n..two\r\n", top
unique_id = pop3.uidl(1)
assert pop3.uidl()[1][0] == b" ".join(unique_id.split(b" ")[1:])
pop3.dele(1)
assert pop3.stat() == (0, 0)
pop3.rset()
assert pop3.stat() == (1, octets)
pop3.noop()
pop3.quit()

# The other copy is removed.
pop3 = poplib.POP3("127.0.0.1", pop3_port)
pop3.user("eve@example.com")
pop3.pass_("any")
pop3.dele(1)
pop3.quit()
pop3 = poplib.POP3("127.0.0.1", pop3_port)
pop3.user("eve@example.com")
pop3.pass_("any")
assert pop3.stat() == (0, 0)
pop3.quit()
