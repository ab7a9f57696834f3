"""nbgrader's settings for this course: read by every nbgrader command that is called in this folder."""

c = get_config()  # noqa: F821  (nbgrader defines it)

c.CourseDirectory.course_id = "nibkit"
# What stands in place of a solution, the same words as in the students' zip.
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code here"}
c.ClearSolutions.text_stub = "*Your answer here, in half a page.*"
# Seconds for one cell: an answer that never ends loses its points, and the others are still graded.
c.Execute.timeout = 300
# A check that a student deleted is put back at grading, as one that was changed is.
c.OverwriteCells.add_missing_cells = True
