Profile: KoordConsentInformFk
Parent: KoordConsent
Id: koord-consent-inform-fk
Title: "Consent to inform Försäkringskassan"
Description: "The patient agrees that Försäkringskassan is told that measures may be needed (lag (2019:1297) 4 §). It needs the first consent beside it."
* category[kind] = $consent-kind#inform-fk
* insert Act([[https://www.riksdagen.se/sv/dokument-lagar/dokument/svensk-forfattningssamling/lag-20191297-om-koordineringsinsatser-for_sfs-2019-1297]])
