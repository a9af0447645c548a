"""Linear algebra over GF(2), plainly, for the tests."""


def rank(words: list[int]) -> int:
    """Rank over GF(2)."""
    basis: list[int] = []
    for word in words:
        for b in basis:
            word = min(word, word ^ b)
        if word:
            basis.append(word)
    return len(basis)
