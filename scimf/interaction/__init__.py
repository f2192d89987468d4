"""Who moves whom: influence, tests, ligands and receptors, what if, and what data can tell."""
