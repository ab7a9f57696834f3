"""Hard use, drawn at random: ``make fuzz MINUTES=30 SEED=0``. A call works and keeps its promises, or says in one error what is wrong.

A case is known by its kind, its seed and its number alone, such as pictures-0-137: ``make fuzz CASE=pictures-0-137`` runs it again.
"""
