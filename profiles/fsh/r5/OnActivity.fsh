RuleSet: OnActivity
* ^context.type = #element
* ^context.expression = "CarePlan.activity"
