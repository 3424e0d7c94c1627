RuleSet: Phone
* insert BySystem(telecom)
* insert Reached(telecom, phone)
