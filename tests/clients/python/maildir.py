"""Reads a Maildir with one message, expected on standard input, and adds another."""

import mailbox
import poplib
import sys

pop3_port = int(sys.argv[2])
expected = sys.stdin.buffer.read().replace(b"\r\n", b"\n")

maildir = mailbox.Maildir(sys.argv[3], create=False)
assert len(maildir) == 1
(key,) = maildir.keys()
assert maildir.get_bytes(key) == expected
message = maildir[key]
assert message["Subject"] == "A letter for Bob"
assert message.get_subdir() == "new"
message.set_subdir("cur")
message.set_flags("RS")
maildir[key] = message
maildir.add("Subject: added by Python\n\n.hello\n")

pop3 = poplib.POP3("127.0.0.1", pop3_port)
pop3.user("bob@example.com")
pop3.pass_("any")
messages = [b"\r\n".join(pop3.retr(number)[1]) for number in (1, 2)]
assert any(b"Subject: added by Python\r\n\r\n.hello" in text for text in messages), messages
assert any(text + b"\r\n" == expected.replace(b"\n", b"\r\n") for text in messages), messages
pop3.quit()
