"""What things cost, and how soon a score is reached."""
