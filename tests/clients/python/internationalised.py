"""A message from and to addresses in UTF-8, with a header section in UTF-8, and back."""

import email.message
import email.policy
import poplib
import smtplib
import sys

smtp_port, pop3_port = int(sys.argv[1]), int(sys.argv[2])

message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
message["From"] = "Zoë <zoë@bücher.example>"
message["To"] = "José <josé@bücher.example>"
message["Subject"] = "Grüße aus Köln"
message.set_content("Schöne Grüße\n", cte="8bit")

with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
    assert smtp.send_message(message) == {}

pop3 = poplib.POP3("127.0.0.1", pop3_port)
pop3.user("josé@bücher.example")
pop3.pass_("pässword")
assert pop3.stat()[0] == 1
_, lines, _ = pop3.retr(1)
fetched = b"".join(line + b"\r\n" for line in lines)
assert b" with UTF8SMTP id " in fetched, fetched
sent = message.as_bytes(policy=email.policy.SMTPUTF8)
assert fetched.endswith(sent), (fetched, sent)
pop3.quit()
