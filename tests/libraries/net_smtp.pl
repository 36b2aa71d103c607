# Sends a directory's messages with Net::SMTP; libraries_programs.py describes the arguments.

use strict;
use warnings;

use Net::SMTP;

my ($host, $port, $tls, $directory, $user, $password) = @ARGV;

sub content_of {
    my ($path) = @_;
    open my $file, '<:raw', $path or die "$path: $!";
    local $/;
    return scalar <$file>;
}

# Sends one message. Returns the error, or nothing.
sub send_one {
    my ($case) = @_;
    my $smtp = Net::SMTP->new($host, Port => $port, SSL => $tls eq 'smtps')
        or return "no connection: $@";
    my $failed = sub { return $_[0] . ' ' . $smtp->code . ' ' . $smtp->message };
    if ($tls eq 'starttls') {
        $smtp->starttls or return $failed->("STARTTLS $IO::Socket::SSL::SSL_ERROR");
    }
    if (defined $user) {
        $smtp->auth($user, $password) or return $failed->('AUTH');
    }
    $smtp->mail(content_of("$case/from")) or return $failed->('MAIL');
    for my $to (split /\n/, content_of("$case/to")) {
        $smtp->to($to) or return $failed->('RCPT');
    }
    $smtp->data(content_of("$case/message")) or return $failed->('DATA');
    $smtp->quit;
    return;
}

opendir my $cases, $directory or die "$directory: $!";
for my $name (sort grep { !/^\./ } readdir $cases) {
    my $error = send_one("$directory/$name") // 'sent';
    $error =~ s/\s+/ /g;
    print "$name $error\n";
}
