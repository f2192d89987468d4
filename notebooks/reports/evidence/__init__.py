"""What the reports beside it share: boards, other methods, scores against a known truth.

Reports hold the evidence for chapters: what lies beside these, the package ``beside``, is found,
too, wherever a report runs.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
