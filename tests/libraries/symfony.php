<?php
// Sends a directory's messages with Symfony Mailer; libraries_programs.py describes the arguments.

use Symfony\Component\Mailer\Envelope;
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;
use Symfony\Component\Mime\RawMessage;

require 'Symfony/Component/Mailer/autoload.php';

[, $host, $port, $tls, $directory] = $argv;
$login = isset($argv[5]) ? rawurlencode($argv[5]) . ':' . rawurlencode($argv[6]) . '@' : '';
$scheme = $tls === 'smtps' ? 'smtps' : 'smtp';
$mailer = new Mailer(Transport::fromDsn("$scheme://$login$host:$port"));

foreach (array_diff(scandir($directory), ['.', '..']) as $name) {
    $read = fn (string $part): string => file_get_contents("$directory/$name/$part");
    try {
        $from = new Address($read('from'));
        $to = array_map(fn (string $to) => new Address($to), explode("\n", $read('to')));
        if (file_exists("$directory/$name/message")) {
            $mailer->send(new RawMessage($read('message')), new Envelope($from, $to));
        } else {
            $email = (new Email())->from($from)->to(...$to);
            $email->subject($read('subject'))->text($read('text'));
            if (file_exists("$directory/$name/attachment")) {
                $email->attach($read('attachment'), 'attachment.bin');
            }
            $mailer->send($email);
        }
        echo "$name sent\n";
    } catch (Exception $error) {
        echo "$name ", preg_replace('/\s+/', ' ', $error->getMessage()), "\n";
    }
}
