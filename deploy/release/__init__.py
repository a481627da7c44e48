"""What goes out with a release: bill of materials, licences of others, known vulnerabilities."""
