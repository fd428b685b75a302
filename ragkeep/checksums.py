"""Numbers that carry a check of themselves: payment cards and bank accounts."""

_PLACES = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT",
    26: "IS TR", 27: "FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB PL", 29: "BR EG PS QA UA", 30: "JO KW MU",
    31: "MT SC", 32: "LC",
}  # fmt: skip
IBAN_LENGTH = {place: length for length, places in _PLACES.items() for place in places.split()}
"""How many characters the IBANs of a country have."""


def is_card(digits: str) -> bool:
    """Whether prefix and length belong to a card scheme: Visa, Mastercard, American Express, Diners, JCB and others."""
    two, four, n = int(digits[:2]), int(digits[:4]), len(digits)
    if digits[0] == "4":
        return n in (13, 16, 19)
    if two in (34, 37):
        return n == 15
    if two in (36, 38, 39) or 300 <= four // 10 <= 305:
        return n == 14
    return n in range(16, 20) and (51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589 or digits[0] == "6")


def luhn(digits: str) -> bool:
    """Whether the last digit is right by Luhn's rule (ISO/IEC 7812-1)."""
    doubled = [int(d) * 2 for d in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def mod97(iban: str) -> bool:
    """Whether an IBAN without spaces has the right check digits (ISO 13616)."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1
