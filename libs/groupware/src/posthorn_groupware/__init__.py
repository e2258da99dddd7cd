"""iCalendar and vCard: validation, expansion of recurrences, filters, free and busy times."""
