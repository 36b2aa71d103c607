// Sends a directory's messages with nodemailer; libraries_programs.py describes the arguments.

"use strict";

const fs = require("fs");
const path = require("path");
const nodemailer = require("nodemailer");

const [host, port, tls, directory, user, pass] = process.argv.slice(2);

/** The message in a directory, as nodemailer needs it. */
function letter(name) {
    const file = (part) => path.join(directory, name, part);
    const from = fs.readFileSync(file("from"), "utf8");
    const to = fs.readFileSync(file("to"), "utf8").split("\n");
    if (fs.existsSync(file("message"))) {
        return { envelope: { from, to }, raw: fs.readFileSync(file("message")) };
    }
    const subject = fs.readFileSync(file("subject"), "utf8");
    const text = fs.readFileSync(file("text"), "utf8");
    const attachments = fs.existsSync(file("attachment"))
        ? [{ filename: "attachment.bin", content: fs.readFileSync(file("attachment")) }]
        : [];
    return { from, to, subject, text, attachments };
}

async function main() {
    const options = { host, port: Number(port) };
    if (tls === "smtps") {
        options.secure = true;
    }
    if (user) {
        options.auth = { user, pass };
    }
    const transport = nodemailer.createTransport(options);
    for (const name of fs.readdirSync(directory).sort()) {
        try {
            await transport.sendMail(letter(name));
            console.log(`${name} sent`);
        } catch (error) {
            console.log(`${name} ${error.message.replace(/\s+/g, " ")}`);
        }
    }
}

main();
