// Sends a directory's messages with net/smtp; libraries_programs.py describes the arguments.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
)

// sendWithTLS does what smtp.SendMail does, on a connection with immediate TLS.
func sendWithTLS(
	host, address string, auth smtp.Auth, from string, to []string, message []byte,
) error {
	connection, err := tls.Dial("tcp", address, &tls.Config{ServerName: host})
	if err != nil {
		return err
	}
	client, err := smtp.NewClient(connection, host)
	if err != nil {
		return err
	}
	defer client.Close()
	if auth != nil {
		if err := client.Auth(auth); err != nil {
			return err
		}
	}
	if err := client.Mail(from); err != nil {
		return err
	}
	for _, recipient := range to {
		if err := client.Rcpt(recipient); err != nil {
			return err
		}
	}
	content, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := content.Write(message); err != nil {
		return err
	}
	if err := content.Close(); err != nil {
		return err
	}
	return client.Quit()
}

func main() {
	host, port, how, directory := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	address := net.JoinHostPort(host, port)
	var auth smtp.Auth
	if len(os.Args) > 5 {
		auth = smtp.PlainAuth("", os.Args[5], os.Args[6], host)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		read := func(part string) []byte {
			octets, err := os.ReadFile(filepath.Join(directory, entry.Name(), part))
			if err != nil {
				panic(err)
			}
			return octets
		}
		from, to := string(read("from")), strings.Split(string(read("to")), "\n")
		var err error
		if how == "smtps" {
			err = sendWithTLS(host, address, auth, from, to, read("message"))
		} else {
			err = smtp.SendMail(address, auth, from, to, read("message"))
		}
		if err != nil {
			fmt.Println(entry.Name(), strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Println(entry.Name(), "sent")
		}
	}
}
