// Numbers are told apart by who gives them; others than those named may stand there, too.
RuleSet: BySystem(path)
* {path} ^slicing.discriminator.type = #value
* {path} ^slicing.discriminator.path = "system"
* {path} ^slicing.rules = #open
