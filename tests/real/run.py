"""ctest's way in: `run.py MODULE`, with SSMEND naming the executable. Exit 77: all was skipped."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

suite = unittest.defaultTestLoader.loadTestsFromName(sys.argv[1])
result = unittest.TextTestRunner(verbosity=2).run(suite)
for test, reason in result.skipped:
    print(f"SKIP: {test}: {reason}")
if not result.wasSuccessful():
    sys.exit(1)
sys.exit(77 if result.skipped and len(result.skipped) >= result.testsRun else 0)
