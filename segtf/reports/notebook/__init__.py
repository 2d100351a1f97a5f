"""What a notebook about a run calls: tables, pictures and sentences from the run's folder and its
data set. No training framework is needed.
"""
