"""How populations move: the interacting neural SDE, its losses, its fit and what a fit is asked."""
