"""What the reports beside it share: boards, other methods, scores against a known truth."""
