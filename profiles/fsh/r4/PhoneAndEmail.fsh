RuleSet: PhoneAndEmail
* insert BySystem(telecom)
* insert Reached(telecom, phone)
* insert Reached(telecom, email)
