"""What the repository is kept with: notebooks run, the book built, pages generated. Not part of the package."""
