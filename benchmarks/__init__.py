"""Speed, measured: ``make bench``. Not part of the package."""
