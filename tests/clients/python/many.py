"""Sends 200 messages in one session, some with many recipients, and checks them."""

import poplib
import smtplib
import sys

smtp_port, pop3_port = int(sys.argv[1]), int(sys.argv[2])

with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
    for number in range(200):
        others = ["user%d@example.com" % n for n in range(number % 5)]
        text = "Subject: number %d\r\n\r\n%s\r\n" % (number, "line\r\n" * number)
        smtp.sendmail("alice@example.com", ["bob@example.com"] + others, text)

pop3 = poplib.POP3("127.0.0.1", pop3_port)
pop3.user("bob@example.com")
pop3.pass_("any")
assert pop3.stat()[0] == 200
unique_ids = [line.split(b" ")[1] for line in pop3.uidl()[1]]
assert len(set(unique_ids)) == 200
for number in range(200):
    _, lines, _ = pop3.retr(number + 1)
    assert b"Subject: number %d" % number in lines, lines
    assert lines.count(b"line") == number
pop3.quit()
