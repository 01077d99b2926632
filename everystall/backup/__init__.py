"""One encrypted file that holds a whole installation, and the way back from it.

An archive is as good as all sellers' sessions together with the keys that open them: nothing of it is ever
written unsealed, and nothing here ever acts on one before all of it was read and found whole.
"""
