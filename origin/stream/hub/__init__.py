"""All viewers of a process, of all matches, and what each is to get."""
