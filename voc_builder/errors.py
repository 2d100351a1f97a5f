"""What is raised for a mistake of the user's."""


class UserError(Exception):
    """A mistake that the user can mend: the text names the file, the rule, the value, the cure."""
