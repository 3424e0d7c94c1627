// A number of one kind.
RuleSet: Number(slice, system)
* identifier[{slice}].system 1..1
* identifier[{slice}].system = "{system}"
* identifier[{slice}].value 1..1
