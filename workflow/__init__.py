"""Run notebooks, publish what they gave, sweep the scoreboard, measure."""
