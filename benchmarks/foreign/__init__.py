"""Models that zooaudit's own training code did not make: owners, thieves and innocents to choose the
statistic on and to report on."""
