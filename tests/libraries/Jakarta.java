// Sends a directory's messages with Jakarta Mail; libraries_programs.py describes the arguments.

import jakarta.mail.Address;
import jakarta.mail.Message;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeBodyPart;
import jakarta.mail.internet.MimeMessage;
import jakarta.mail.internet.MimeMultipart;
import jakarta.mail.util.ByteArrayDataSource;
import jakarta.activation.DataHandler;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.stream.Stream;

public class Jakarta {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("mail.smtp.host", arguments[0]);
        properties.put("mail.smtp.port", arguments[1]);
        if (arguments[2].equals("smtps")) {
            properties.put("mail.smtp.ssl.enable", "true");
        } else if (arguments[2].equals("starttls")) {
            properties.put("mail.smtp.starttls.enable", "true");
        }
        if (arguments.length > 4) {
            properties.put("mail.smtp.auth", "true");
        }
        Session session = Session.getInstance(properties);
        try (Stream<Path> directories = Files.list(Path.of(arguments[3]))) {
            for (Path directory : directories.sorted().toList()) {
                String outcome = "sent";
                try {
                    send(session, directory, arguments);
                } catch (Exception error) {
                    StringBuilder told = new StringBuilder();
                    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                        told.append(cause.getMessage()).append(' ');
                    }
                    outcome = told.toString().replaceAll("\\s+", " ");
                }
                System.out.println(directory.getFileName() + " " + outcome);
            }
        }
    }

    static void send(Session session, Path directory, String[] arguments) throws Exception {
        String from = Files.readString(directory.resolve("from"));
        String[] to = Files.readString(directory.resolve("to")).split("\n");
        Address[] recipients = new Address[to.length];
        for (int i = 0; i < to.length; i++) {
            recipients[i] = new InternetAddress(to[i]);
        }
        MimeMessage message;
        if (Files.exists(directory.resolve("message"))) {
            try (var octets = Files.newInputStream(directory.resolve("message"))) {
                message = new MimeMessage(session, octets);
            }
            session.getProperties().put("mail.smtp.from", from);
        } else {
            message = write(session, directory);
            message.setFrom(new InternetAddress(from));
            message.setRecipients(Message.RecipientType.TO, recipients);
            message.saveChanges();
        }
        try (Transport transport = session.getTransport("smtp")) {
            if (arguments.length > 4) {
                transport.connect(arguments[4], arguments[5]);
            } else {
                transport.connect();
            }
            transport.sendMessage(message, recipients);
        }
    }

    static MimeMessage write(Session session, Path directory) throws Exception {
        MimeMessage message = new MimeMessage(session);
        message.setSubject(Files.readString(directory.resolve("subject")), "UTF-8");
        String text = Files.readString(directory.resolve("text"));
        Path attachment = directory.resolve("attachment");
        if (Files.exists(attachment)) {
            MimeBodyPart first = new MimeBodyPart();
            first.setText(text, "UTF-8");
            MimeBodyPart second = new MimeBodyPart();
            var octets = new ByteArrayDataSource(
                    Files.readAllBytes(attachment), "application/octet-stream");
            second.setDataHandler(new DataHandler(octets));
            second.setFileName("attachment.bin");
            message.setContent(new MimeMultipart(first, second));
        } else {
            message.setText(text, "UTF-8");
        }
        return message;
    }
}
