<?php
// Sends a directory's messages with PHPMailer; libraries_programs.py describes the arguments.

require 'libphp-phpmailer/autoload.php';

[, $host, $port, $tls, $directory] = $argv;

foreach (array_diff(scandir($directory), ['.', '..']) as $name) {
    $read = fn (string $part): string => file_get_contents("$directory/$name/$part");
    $mail = new PHPMailer\PHPMailer\PHPMailer(true);
    try {
        $mail->isSMTP();
        $mail->Host = $host;
        $mail->Port = (int) $port;
        // Otherwise PHPMailer takes its input for Latin-1.
        $mail->CharSet = 'UTF-8';
        if ($tls === 'smtps') {
            $mail->SMTPSecure = 'ssl';
        }
        if (isset($argv[5])) {
            $mail->SMTPAuth = true;
            [, , , , , $mail->Username, $mail->Password] = $argv;
        }
        $mail->setFrom($read('from'));
        foreach (explode("\n", $read('to')) as $to) {
            $mail->addAddress($to);
        }
        $mail->Subject = $read('subject');
        $mail->Body = $read('text');
        if (file_exists("$directory/$name/attachment")) {
            $mail->addStringAttachment($read('attachment'), 'attachment.bin');
        }
        $mail->send();
        echo "$name sent\n";
    } catch (Exception $error) {
        echo "$name ", preg_replace('/\s+/', ' ', $error->getMessage()), "\n";
    }
}
