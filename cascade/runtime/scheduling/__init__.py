"""Which node starts next, and where: schedules, lanes, maps, hot loops."""
