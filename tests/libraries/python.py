"""Sends the messages in a directory with smtplib; libraries_programs.py describes its arguments."""

import email.message
import smtplib
import ssl
import sys
from pathlib import Path


def send(smtp: smtplib.SMTP, case: Path) -> None:
    """Sends one message: octets, text, or what the package email makes from its parts."""
    sender, to = (case / "from").read_text(), (case / "to").read_text().split("\n")
    if (case / "as-text").exists():
        smtp.sendmail(sender, to, (case / "message").read_text("utf-8"))
    elif (case / "message").exists():
        smtp.sendmail(sender, to, (case / "message").read_bytes())
    else:
        message = email.message.EmailMessage()
        message["From"], message["To"] = sender, ", ".join(to)
        message["Subject"] = (case / "subject").read_text("utf-8")
        message.set_content((case / "text").read_bytes().decode())
        if (case / "attachment").exists():
            octets = (case / "attachment").read_bytes()
            how = {"maintype": "application", "subtype": "octet-stream", "filename": "a.bin"}
            message.add_attachment(octets, **how)
        smtp.send_message(message)


def main() -> None:
    """Sends them all, each over its own connection."""
    host, port, tls, directory, *login = sys.argv[1:]
    for case in sorted(Path(directory).iterdir()):
        try:
            if tls == "smtps":
                context = ssl.create_default_context()
                smtp = smtplib.SMTP_SSL(host, int(port), context=context)
            else:
                smtp = smtplib.SMTP(host, int(port))
            with smtp:
                if tls == "starttls":
                    smtp.starttls(context=ssl.create_default_context())
                if login:
                    smtp.login(*login)
                send(smtp, case)
            print(case.name, "sent")
        except (OSError, smtplib.SMTPException, ValueError) as error:
            print(case.name, " ".join(f"{type(error).__name__} {error}".split()))


if __name__ == "__main__":
    main()
