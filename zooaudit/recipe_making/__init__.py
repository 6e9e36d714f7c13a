"""A recipe for the user's own task: what data and victim are like, and the sizes, floors and nets that follow from it."""
