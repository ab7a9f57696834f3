"""Hard use, drawn at random: ``make fuzz MINUTES=30 SEED=0``. A call works and keeps its promises, or says what is wrong.

A case is known by its kind, seed and number alone, pictures-0-137 for example: ``make fuzz CASE=pictures-0-137`` runs it again.
"""
