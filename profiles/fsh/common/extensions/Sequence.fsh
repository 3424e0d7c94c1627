Extension: Sequence
Id: sequence
Title: "Sequence of changes"
Description: "Orders the changes of one Task across systems: of two, the higher holds."
Context: Task
* insert Holds(positiveInt)
