# Sends the messages in a directory: complete ones with Net::SMTP, the rest with the gem mail;
# libraries_programs.py describes the arguments.

require "mail"
require "net/smtp"

HOST, PORT, TLS, DIRECTORY, USER, PASSWORD = ARGV

def send_as_it_is(from, to, message)
  smtp = Net::SMTP.new(HOST, PORT.to_i)
  smtp.enable_tls if TLS == "smtps"
  smtp.start(user: USER, secret: PASSWORD) do |session|
    session.send_message(message, from, to)
  end
end

def write_and_send(from, to, directory)
  read = ->(part) { File.read("#{directory}/#{part}", encoding: "UTF-8") }
  mail = Mail.new
  mail.from = from
  mail.to = to
  mail.subject = read["subject"]
  if File.exist?("#{directory}/attachment")
    mail.text_part = Mail::Part.new.tap { |part| part.body = read["text"] }
    mail.attachments["attachment.bin"] = File.binread("#{directory}/attachment")
  else
    mail.body = read["text"]
  end
  options = { address: HOST, port: PORT.to_i }
  options[:tls] = true if TLS == "smtps"
  options.update(user_name: USER, password: PASSWORD) if USER
  mail.delivery_method(:smtp, options)
  mail.deliver!
end

Dir.children(DIRECTORY).sort.each do |name|
  directory = "#{DIRECTORY}/#{name}"
  from = File.read("#{directory}/from")
  to = File.read("#{directory}/to").split("\n")
  begin
    if File.exist?("#{directory}/message")
      send_as_it_is(from, to, File.binread("#{directory}/message"))
    else
      write_and_send(from, to, directory)
    end
    puts "#{name} sent"
  rescue StandardError => e
    puts "#{name} #{e.message.gsub(/\s+/, ' ')}"
  end
end
