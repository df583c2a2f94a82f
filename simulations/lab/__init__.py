"""The breeding lab: models bred under allow-listed operators, judged by another vendor, released and rolled back."""
